-- Run once, in an empty volume: the registry's own database beside Rayon's.
CREATE DATABASE mlflow ENCODING 'UTF8' TEMPLATE template0;
