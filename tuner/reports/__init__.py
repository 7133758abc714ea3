"""What studies have found, put side by side. The test split is read from here alone."""
