"""How fast the recharge path is, against what the same machine can do at all: `make bench`, docs/speed.md."""
