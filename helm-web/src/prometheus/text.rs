//! The text that Prometheus reads: its own format 0.0.4, or OpenMetrics 1.0. A function of values.

use std::fmt::Write as _;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// By an `Accept` header; Prometheus' own where it does not name the other.
    #[must_use]
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    #[must_use]
    pub fn media(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only rises; its samples are named with `_total`.
    Counter,
}

/// Families of numbers, being written.
#[derive(Debug)]
pub struct Text {
    format: Format,
    out: String,
}

/// One family: its samples follow.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut Text,
    name: &'static str,
    kind: Kind,
}

impl Text {
    /// Nothing yet.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, out: String::new() }
    }

    /// Begins a family; `name` is without `_total`.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let word = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // OpenMetrics names the family, the older format the samples.
        let suffix = if kind == Kind::Counter && self.format == Format::Prometheus { "_total" } else { "" };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String never fails.
        let _ = write!(self.out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {word}\n");
        Family { text: self, name, kind }
    }

    /// All of it.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let out = &mut self.text.out;
        out.push_str(self.name);
        if self.kind == Kind::Counter {
            out.push_str("_total");
        }
        for (index, (name, value)) in labels.iter().enumerate() {
            out.push_str(if index == 0 { "{" } else { "," });
            let _ = write!(out, "{name}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            out.push('}');
        }
        let _ = writeln!(out, " {}", number(value));
        self
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut text = Text::new(format);
        text.family("helm_service_up", Kind::Gauge, "It runs.")
            .sample(&[("service", "core")], 1.0)
            .sample(&[("service", "a\"b\\c\nd")], 0.0);
        text.family("helm_restarts", Kind::Counter, "Restarts.").sample(&[], 3.0);
        text.finish()
    }

    #[test]
    fn both_formats_have_their_form() {
        let older = "# HELP helm_service_up It runs.\n# TYPE helm_service_up gauge\nhelm_service_up{service=\"core\"} 1\nhelm_service_up{service=\"a\\\"b\\\\c\\nd\"} 0\n# HELP helm_restarts_total Restarts.\n# TYPE helm_restarts_total counter\nhelm_restarts_total 3\n";
        assert_eq!(written(Format::Prometheus), older);
        let newer = older
            .replace("# HELP helm_restarts_total", "# HELP helm_restarts")
            .replace("# TYPE helm_restarts_total", "# TYPE helm_restarts")
            + "# EOF\n";
        assert_eq!(written(Format::OpenMetrics), newer);
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        assert_eq!(
            Format::of("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
            Format::OpenMetrics
        );
        assert_eq!(Format::of("*/*"), Format::Prometheus);
    }
}
