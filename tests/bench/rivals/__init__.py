"""Other ways to serve the same text model on the same machine.

Each program serves `POST /predict` on a port from its command line, or consumes tasks;
`tests.bench.rivals.compare` starts them one at a time. They share only the model and its
preparation.
"""
