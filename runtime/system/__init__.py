"""Operating system services: files, signals, processors, memory, forks."""
