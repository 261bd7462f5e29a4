"""Jobs: what each must contain, and what of it is done."""
