"""The candidates: one module each, behind the protocols of `trainer.candidates.protocols`."""
