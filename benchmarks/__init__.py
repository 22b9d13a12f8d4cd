"""One file an operator or workload, peers beside ours; results under results/<device>/."""
