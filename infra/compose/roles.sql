-- The registry's own database and role, beside Rayon's; run at every start. Tables of an earlier version
-- belong to `rayon` and are handed over, as are those of a restored backup.
\set password `cat /run/rayon/mlflow_password`

SELECT 'CREATE ROLE mlflow LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlflow') \gexec
ALTER ROLE mlflow LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    PASSWORD :'password';

SELECT 'CREATE DATABASE mlflow OWNER mlflow ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'mlflow') \gexec
ALTER DATABASE mlflow OWNER TO mlflow;
REVOKE ALL ON DATABASE rayon, mlflow, postgres FROM PUBLIC;

\connect mlflow
ALTER SCHEMA public OWNER TO pg_database_owner;
-- Sequences and indexes of a table go with it.
SELECT format('ALTER TABLE public.%I OWNER TO mlflow', tablename)
FROM pg_tables
WHERE schemaname = 'public' AND tableowner <> 'mlflow' \gexec
