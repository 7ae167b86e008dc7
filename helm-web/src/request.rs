//! What every request passes: its id, the prefix that it came by, the host it was meant for, and the form of refusals.
