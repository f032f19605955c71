"""What proves that nothing was altered or left out: digests, log files and ledger held against each other."""
