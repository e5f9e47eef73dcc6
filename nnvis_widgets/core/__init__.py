"""The measuring instrument: states, scopes, families of weights, and the one loop that measures them."""
