"""What several tests share: fake frameworks, reference formulas, made-up runs and measurements."""
