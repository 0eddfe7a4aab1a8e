"""Entry scripts: parse, plan, run, exit code. Nothing imports them."""
