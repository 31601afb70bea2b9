//! Benchmarks side by side with peers. The programs are in `src/bin/`.
