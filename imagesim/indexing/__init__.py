"""The write side: signals -> outbox -> dispatch -> sync -> leases -> documents -> embedding -> write_targets."""
