"""Networks that are used: of finished trials, from files, from MLflow."""
