"""Other ways to serve the same text model on the same machine.

Each module is a program that serves `POST /predict` on the port it is given, or consumes tasks;
`tests.bench.rivals.compare` starts them one at a time. They share only the model and its
preparation.
"""
