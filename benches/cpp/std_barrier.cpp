// Threads at a `std::barrier`: `std_barrier THREADS GENERATIONS` prints the nanoseconds of all generations.
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

int main(int, char** arguments) {
    const long parties = std::atol(arguments[1]), generations = std::atol(arguments[2]);
    std::barrier barrier(parties);
    const auto wait_for_all = [&] {
        for (long i = 0; i < generations; i++) barrier.arrive_and_wait();
    };
    std::vector<std::jthread> threads;
    for (long i = 1; i < parties; i++) {
        threads.emplace_back([&] {
            barrier.arrive_and_wait();
            wait_for_all();
        });
    }
    barrier.arrive_and_wait();
    const auto start = std::chrono::steady_clock::now();
    wait_for_all();
    const auto time = std::chrono::steady_clock::now() - start;
    std::printf("%lld\n", static_cast<long long>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(time).count()));
}
