"""Commands that run recipes, show them and check the machine for them."""
