//! Interleaved sampling: A B C A B C ..., so that a drift of the machine affects all alike.

use std::time::Duration;

/// Nanoseconds per iteration, by sample and round. A sample times as many iterations as it is
/// asked for: here so many that they take about `length`.
pub fn interleave(
    samples: &[impl Fn(u64) -> Duration],
    rounds: usize,
    length: Duration,
) -> Vec<Vec<f64>> {
    let iterations: Vec<u64> = samples.iter().map(|s| calibrate(s, length)).collect();
    let mut times = vec![Vec::with_capacity(rounds); samples.len()];
    for _ in 0..rounds {
        for (i, sample) in samples.iter().enumerate() {
            let time = sample(iterations[i]);
            times[i].push(time.as_nanos() as f64 / iterations[i] as f64);
        }
    }
    times
}

/// How many iterations take about `length`.
fn calibrate(sample: impl Fn(u64) -> Duration, length: Duration) -> u64 {
    let mut iterations = 1;
    loop {
        let time = sample(iterations);
        if time * 4 >= length {
            let scale = length.as_secs_f64() / time.as_secs_f64();
            return (iterations as f64 * scale).ceil() as u64;
        }
        iterations *= 4;
    }
}

/// Quartile `q`: 2 is the median.
pub fn quartile(values: impl IntoIterator<Item = f64>, q: usize) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * q / 4]
}
