"""Natural text: where documents come from, how they become word pieces and sequences of one length."""
