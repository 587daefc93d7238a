"""What the operating system offers and takes: files, signals, processors, forks."""
