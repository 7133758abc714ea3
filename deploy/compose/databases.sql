-- Run once, by the database's image, when its volume is new: a user and a database each for tuner and
-- for MLflow. Neither can read the other's.
-- Else a statement that fails would be logged with its password.
SET log_min_error_statement = 'panic';
\getenv tuner_password TUNER_DB_PASSWORD
\getenv mlflow_password MLFLOW_DB_PASSWORD
CREATE ROLE tuner LOGIN PASSWORD :'tuner_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE tuner OWNER tuner;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE tuner, mlflow FROM PUBLIC;
