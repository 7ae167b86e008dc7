//! Times and what is said of them.

use std::time::Duration;

/// Times of many repetitions, in milliseconds, sorted.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Of these.
    pub fn of(times: Vec<Duration>) -> Self {
        let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// How many there are.
    pub fn many(&self) -> usize {
        self.0.len()
    }

    /// The value that `percent` of them are not above.
    pub fn share(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub fn p50(&self) -> f64 {
        self.share(50)
    }

    /// The one that 99 of 100 are not above.
    pub fn p99(&self) -> f64 {
        self.share(99)
    }

    /// The longest.
    pub fn most(&self) -> f64 {
        self.share(100)
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// `p50 / p99 ms`
    pub fn said(&self) -> String {
        format!("{:.2} / {:.2} ms", self.p50(), self.p99())
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `127,000`
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut said = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}
