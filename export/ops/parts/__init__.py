"""What several families are made of: axes, operands, windows, copies, weights. No families."""
