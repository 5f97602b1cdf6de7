"""Changes that stay, and the way back: alert, labels, training, gate, promotion, recovery."""
