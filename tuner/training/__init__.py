"""Pure training: params + Dataset -> a stream of events. No SQL, no MLflow, no Optuna."""
