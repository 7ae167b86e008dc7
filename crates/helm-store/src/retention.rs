//! What may go: by age, by bytes, by free disk.
