//! Network laboratories for tests: hosts in user and network namespaces, virtual machines, peers.
