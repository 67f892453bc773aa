"""What the benchmark scripts share: workloads, the two programs, the machine, records of what was measured."""
