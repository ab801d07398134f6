//! What must outlive the process: devices, accounts, sessions and tokens.
