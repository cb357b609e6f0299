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
    const auto wait_for_all = [&](long times) {
        for (long i = 0; i < times; i++) barrier.arrive_and_wait();
    };
    const long warm_up = 1 + generations / 8;
    std::vector<std::jthread> threads;
    for (long i = 1; i < parties; i++) {
        threads.emplace_back([&] { wait_for_all(warm_up + generations); });
    }
    wait_for_all(warm_up);
    const auto start = std::chrono::steady_clock::now();
    wait_for_all(generations);
    const auto time = std::chrono::steady_clock::now() - start;
    std::printf("%lld\n", static_cast<long long>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(time).count()));
}
