//! The grammar of xRSL: `&(attribute="value")(attribute=("list" "of values"))`, or `+(&...)(&...)` for several jobs.
//!
//! The reader does not support user-delimited strings (`^x...x`), variables and concatenations (`$(...)`, `#`, with
//! `rsl_substitution`), and alternatives (`|`), which are for a broker. The time for reading grows linearly with the
//! length of the text.

mod read;

pub(super) use read::read;

/// The deepest nesting of requests and of lists. Real requests need two or three levels.
const MAX_DEPTH: usize = 16;

/// The longest text, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    List(Vec<Value>),
}

/// An attribute with its operator and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// In ARC's form: lower case, without underscores.
    attribute: String,
    operator: String,
    values: Vec<Value>,
}

/// Splits a text into the conditions of each job. The error contains the line.
pub(super) fn parse(text: &str) -> Result<Vec<Vec<Condition>>, String> {
    if text.len() > MAX_LENGTH {
        return Err("it is longer than 1 MiB".into());
    }
    let mut reader = Reader { text, at: 0 };
    let jobs = reader.request(0)?;
    match reader.peek()? {
        None => Ok(jobs),
        Some(_) => Err(reader.fault("there is text after the request")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn fault(&self, message: &str) -> String {
        let line = self.text[..self.at].matches('\n').count() + 1;
        format!("line {line}: {message}")
    }

    /// Skips blanks and comments, and returns the next character.
    fn peek(&mut self) -> Result<Option<char>, String> {
        loop {
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
            if !self.rest().starts_with("(*") {
                return Ok(self.rest().chars().next());
            }
            let Some(end) = self.rest().find("*)") else { return Err(self.fault("a comment does not end")) };
            self.at += end + 2;
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.peek()? != Some(wanted) {
            return Err(self.fault(&format!("{wanted:?} is missing")));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    /// Reads `&` with the conditions of one job, or `+` with several jobs.
    fn request(&mut self, depth: usize) -> Result<Vec<Vec<Condition>>, String> {
        if depth == MAX_DEPTH {
            return Err(self.fault("requests are nested too deeply"));
        }
        let operator = self.peek()?;
        match operator {
            Some('&' | '+') => self.at += 1,
            Some('|') => return Err(self.fault("alternatives (|) are not supported")),
            _ => return Err(self.fault("it does not begin with & or +")),
        }
        let (mut all, mut jobs) = (Vec::new(), Vec::new());
        while self.peek()? == Some('(') {
            self.at += 1;
            match (self.peek()?, operator) {
                (Some('&' | '+' | '|'), Some('+')) => jobs.extend(self.request(depth + 1)?),
                (Some('&' | '+' | '|'), _) => match self.request(depth + 1)?.as_mut_slice() {
                    [conditions] => all.append(conditions),
                    _ => return Err(self.fault("several jobs (+) cannot be part of one (&)")),
                },
                (_, Some('+')) => return Err(self.fault("a job (&) is missing after +")),
                _ => all.push(self.condition()?),
            }
            self.expect(')')?;
        }
        Ok(if operator == Some('&') { vec![all] } else { jobs })
    }

    fn condition(&mut self) -> Result<Condition, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = self.rest().find(|c| !is_name(c)).unwrap_or(self.rest().len());
        let attribute = self.rest()[..length].to_ascii_lowercase().replace('_', "");
        if attribute.is_empty() {
            return Err(self.fault("the name of an attribute is missing"));
        }
        self.at += length;
        self.peek()?;
        let operators = ["!=", "<=", ">=", "=", "<", ">"];
        let Some(operator) = operators.into_iter().find(|operator| self.rest().starts_with(operator)) else {
            return Err(self.fault(&format!("the attribute {attribute} has no operator")));
        };
        self.at += operator.len();
        let values = self.values(0)?;
        Ok(Condition { attribute, operator: operator.into(), values })
    }

    fn values(&mut self, depth: usize) -> Result<Vec<Value>, String> {
        if depth == MAX_DEPTH {
            return Err(self.fault("lists are nested too deeply"));
        }
        let mut values = Vec::new();
        loop {
            match self.peek()? {
                None => return Err(self.fault("the text ends early")),
                Some(')') => return Ok(values),
                Some('(') => {
                    self.at += 1;
                    values.push(Value::List(self.values(depth + 1)?));
                    self.expect(')')?;
                }
                Some(quote @ ('"' | '\'')) => values.push(Value::Text(self.quoted(quote)?)),
                Some('$' | '#') => return Err(self.fault("variables and concatenations ($, #) are not supported")),
                Some('^') => return Err(self.fault("user-delimited strings (^) are not supported")),
                Some('+' | '&' | '|' | '=' | '<' | '>' | '!') => {
                    return Err(self.fault("a text with one of + & | = < > ! must be between quotes"));
                }
                Some(_) => {
                    let is_end = |c: char| is_space(c) || "+&|()=<>!\"'^#$".contains(c);
                    let length = self.rest().find(is_end).unwrap_or(self.rest().len());
                    values.push(Value::Text(self.rest()[..length].to_owned()));
                    self.at += length;
                }
            }
            // Some readers join two texts that have no blank between them.
            let next = self.rest().chars().next();
            if next.is_some_and(|c| !is_space(c) && c != ')' && c != '(') {
                return Err(self.fault("two texts need a blank between them"));
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(end) = self.rest().find(quote) else { return Err(self.fault("a quote does not end")) };
            text += &self.rest()[..end];
            self.at += end + 1;
            if !self.rest().starts_with(quote) {
                break;
            }
            text.push(quote);
            self.at += 1;
        }
        // ARC removes comments before it parses quotes.
        if text.contains("(*") {
            return Err(self.fault("a text contains (*, which ARC treats as the start of a comment"));
        }
        if text.contains('\0') {
            return Err(self.fault("a text contains the character U+0000"));
        }
        Ok(text)
    }
}

/// The white space of C's `isspace`, by which ARC separates values.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// Writes conditions with every text in double quotes.
#[cfg(test)]
pub(super) fn write(conditions: &[Condition]) -> String {
    fn values(all: &[Value]) -> String {
        let write = |value: &Value| match value {
            Value::Text(text) => format!(" \"{}\"", text.replace('"', "\"\"")),
            Value::List(list) => format!(" ({})", values(list)),
        };
        all.iter().map(write).collect()
    }
    let write = |it: &Condition| format!("({}{}{})\n", it.attribute, it.operator, values(&it.values));
    format!("&{}", conditions.iter().map(write).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::description::JobDescription;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn condition(attribute: &str, values: Vec<Value>) -> Condition {
        Condition { attribute: attribute.into(), operator: "=".into(), values }
    }

    #[test]
    fn requests_are_split_into_conditions() {
        let xrsl = "&(* a comment *)\n( Run_Time_Environment = \"A \"\"b\"\"\" 'c''d' e-1 )(&(inputfiles=(a '')(\"b\" \"x\")))";
        let list = |values: &[&str]| Value::List(values.iter().map(|value| text(value)).collect());
        let expected = vec![
            condition("runtimeenvironment", vec![text("A \"b\""), text("c'd"), text("e-1")]),
            condition("inputfiles", vec![list(&["a", ""]), list(&["b", "x"])]),
        ];
        assert_eq!(parse(xrsl), Ok(vec![expected.clone()]));
        assert_eq!(parse(&write(&expected)), Ok(vec![expected]));
        let two = parse("+(&(a=1))(&(b!=2))").unwrap();
        assert_eq!((two.len(), two[1][0].operator.as_str()), (2, "!="));
        assert_eq!(parse("&"), Ok(vec![Vec::new()]));
    }

    #[test]
    fn malformed_requests_are_refused() {
        let deep = format!("{}a=1", "&(".repeat(100_000));
        let lists = format!("&(a={}", "(".repeat(100_000));
        let long = format!("&(a=\"{}\")", "x".repeat(MAX_LENGTH));
        for (xrsl, why) in [
            ("", "& or +"),
            ("(a=1)", "& or +"),
            ("&(a=1", "ends early"),
            ("&(a=1))", "after the request"),
            ("&(a)", "no operator"),
            ("&(=1)", "name of an attribute"),
            ("&(a=\"b)", "quote does not end"),
            ("&(a=b(* c)", "comment does not end"),
            ("&(a=^x", "user-delimited"),
            ("&(a=(\"b\"#))", "need a blank"),
            ("&(a=$(B))", "variables"),
            ("&(a=\"(*\")", "comment"),
            ("&(a=b=c)", "between"),
            ("&(a=\"b\"\"c\"'d')", "need a blank"),
            ("&(|(a=1)(a=2))", "alternatives"),
            ("|(a=1)", "alternatives"),
            ("+(a=1)", "missing after +"),
            ("&(+(&(a=1))(&(a=2)))", "several jobs"),
            ("&\n\n(a=^", "line 3"),
            (&deep, "nested"),
            (&lists, "nested"),
            (&long, "1 MiB"),
        ] {
            let error = parse(xrsl).unwrap_err();
            assert!(error.contains(why), "{}: {error}", &xrsl[..xrsl.len().min(50)]);
        }
    }

    /// ARC's own reader takes 0.45 s for 85 kB, and 4.4 s for 361 kB.
    #[test]
    fn the_time_for_reading_grows_linearly() {
        // The time of the processor does not depend on what else the machine does.
        let time = |text: &str| {
            let now = || {
                let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
            };
            let read = || {
                let begun = now();
                let jobs = JobDescription::parse_all(text);
                assert!(jobs.is_ok() || text.contains("(notify="), "{jobs:?}");
                now() - begun
            };
            (0..3).map(|_| read()).min().unwrap()
        };
        fn each(parts: usize, part: fn(usize) -> String) -> String {
            (0..parts).map(part).collect()
        }
        let shapes: [fn(usize) -> String; 14] = [
            |n| format!("(arguments={})", each(n, |n| format!(" a{n}"))),
            |n| format!("(arguments=\"{}\")", "\"\" /".repeat(n)),
            |n| format!("(environment={})", each(n, |n| format!("(A{n} b)"))),
            |n| each(n, |n| format!("(environment=(A{n} b))")),
            |n| each(n, |n| format!("(&(&(environment=(A{n} b))))")),
            |n| format!("(inputfiles={})", each(n, |n| format!("(a/a/a{n} https://h/a{n} \"b=c\")"))),
            |n| format!("(inputfiles={})", each(n, |n| format!("(a{n} /a{n})"))),
            |n| {
                let files = each(n, |n| format!("(a{n} \"\")"));
                format!("(inputfiles={files})(executables={})", each(n, |n| format!(" a{n}")))
            },
            |n| format!("(outputfiles={})", each(n, |n| format!("(a/a/a{n} \"\")"))),
            |n| format!("(outputfiles={})", each(n, |n| format!("(a{n} https://h/a{n})"))),
            |n| each(n, |n| format!("(runtimeenvironment=A{n})")),
            |n| format!("(notify={})", each(n, |n| format!(" \"a@{n}\""))), // too many, but read
            |n| " (* ( *) \n".repeat(n),
            |n| format!("(jobname=\"{}\")", "a".repeat(20 * n)),
        ];
        let with_head = |rest: String| format!("&(executable=/bin/true){rest}");
        let several = |n| format!("+{}", "(&(executable=/bin/a)(jobname=\"c\"))".repeat(n));
        let pairs = shapes.map(|shape| [500, 4000].map(|n| with_head(shape(n))));
        for [short, long] in pairs.into_iter().chain([[several(500), several(4000)]]) {
            let (once, eightfold) = (time(&short), time(&long));
            // Eight times the text. With quadratic time it would be 64 times as long.
            assert!(eightfold < once * 30 + Duration::from_millis(5), "{}: {once:?}, {eightfold:?}", &short[..80]);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[&+|()=<>!\"'^#$*a-c \n]{0,100}") {
            if let Ok(jobs) = parse(&text) {
                for conditions in jobs {
                    prop_assert_eq!(parse(&write(&conditions)), Ok(vec![conditions]));
                }
            }
        }
    }
}
