//! xRSL as it is written: the reader that stands before ARC's, which crashes, hangs or takes all memory on some texts that
//! are not in order, and passes over much that is not.
//!
//! What is not read here: user-delimited strings (`^x...x`), variables and concatenations (`$(...)`, `#`, with
//! `rsl_substitution`), and alternatives (`|`), which are for a broker.

/// Nested deeper than any request. (A list is two levels deep.)
const DEEPEST: usize = 16;

/// Longer than any request.
const LONGEST: usize = 1 << 20;

/// What an attribute is given: a text, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<Value>),
}

/// An attribute, in ARC's form (lower case, without underscores), an operator and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) attribute: String,
    pub(super) operator: String,
    pub(super) values: Vec<Value>,
}

/// The conditions of each job in a text; what is wrong with it is told in words.
pub(super) fn read(text: &str) -> Result<Vec<Vec<Condition>>, String> {
    if text.len() > LONGEST {
        return Err("it is longer than 1 MiB".into());
    }
    let mut reader = Reader { text, at: 0 };
    let jobs = reader.request(0)?;
    match reader.peek()? {
        None => Ok(jobs),
        Some(_) => Err(reader.fault("there is something after the request")),
    }
}

/// Whether a place is not on this machine.
pub(super) fn is_url(place: &str) -> bool {
    place.contains("://") && !place.to_lowercase().starts_with("file:")
}

/// Has local paths survive an ARC that takes them for encoded URLs.
pub(super) fn encode_paths(conditions: &mut [Condition]) {
    let files = conditions.iter_mut().filter(|condition| condition.attribute == "inputfiles");
    for file in files.flat_map(|condition| &mut condition.values) {
        if let Value::List(parts) = file
            && let [Value::Text(name), Value::Text(place), ..] = parts.as_mut_slice()
            && !is_url(place)
        {
            // Without a place the name is one.
            let path = if place.is_empty() && name.contains('%') { &*name } else { &*place };
            *place = path.replace('%', "%25");
        }
    }
}

/// Conditions in the form that ARC reads without any choice: every text between double quotes.
pub(super) fn write(conditions: &[Condition]) -> String {
    let mut text = String::from("&");
    for Condition { attribute, operator, values } in conditions {
        text += &format!("({attribute}{operator}");
        write_values(values, &mut text);
        text += ")\n";
    }
    text
}

fn write_values(values: &[Value], text: &mut String) {
    for value in values {
        match value {
            Value::Text(value) => *text += &format!(" \"{}\"", value.replace('"', "\"\"")),
            Value::List(values) => {
                *text += " (";
                write_values(values, text);
                *text += ")";
            }
        }
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

    /// The next character that is neither blank nor in a comment.
    fn peek(&mut self) -> Result<Option<char>, String> {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            if !self.rest().starts_with("(*") {
                return Ok(self.rest().chars().next());
            }
            let Some(end) = self.rest().find("*)") else { return Err(self.fault("a comment does not end")) };
            self.at += end + 2;
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.peek()? != Some(wanted) {
            return Err(self.fault(&format!("there is no {wanted:?} where one must be")));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    /// `&` and what must all hold, or `+` and several jobs.
    fn request(&mut self, depth: usize) -> Result<Vec<Vec<Condition>>, String> {
        if depth == DEEPEST {
            return Err(self.fault("it is nested too deep"));
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
                    _ => return Err(self.fault("several jobs (+) must not be in one (&)")),
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
        if depth == DEEPEST {
            return Err(self.fault("it is nested too deep"));
        }
        let mut values = Vec::new();
        loop {
            match self.peek()? {
                None => return Err(self.fault("it ends early")),
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
                    let is_end = |c: char| c.is_whitespace() || "+&|()=<>!\"'^#$".contains(c);
                    let length = self.rest().find(is_end).unwrap_or(self.rest().len());
                    values.push(Value::Text(self.rest()[..length].to_owned()));
                    self.at += length;
                }
            }
            // What is joined without a blank is one text to some readers, and two to others.
            let next = self.rest().chars().next();
            if next.is_some_and(|c| !c.is_whitespace() && c != ')' && c != '(') {
                return Err(self.fault("there is no blank between two texts"));
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
        // ARC takes comments out before it looks at quotes.
        if text.contains("(*") || text.contains('\0') {
            return Err(self.fault("a text has (* in it, which ARC takes for a comment, or U+0000"));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn condition(attribute: &str, values: Vec<Value>) -> Condition {
        Condition { attribute: attribute.into(), operator: "=".into(), values }
    }

    #[test]
    fn a_request_is_its_conditions() {
        let xrsl = "&(* a comment *)\n( Run_Time_Environment = \"A \"\"b\"\"\" 'c''d' e-1 )(&(inputfiles=(a '')(\"b\" \"x\")))";
        let list = |values: &[&str]| Value::List(values.iter().map(|value| text(value)).collect());
        let expected = vec![
            condition("runtimeenvironment", vec![text("A \"b\""), text("c'd"), text("e-1")]),
            condition("inputfiles", vec![list(&["a", ""]), list(&["b", "x"])]),
        ];
        assert_eq!(read(xrsl), Ok(vec![expected.clone()]));
        assert_eq!(read(&write(&expected)), Ok(vec![expected]));
        let two = read("+(&(a=1))(&(b!=2))").unwrap();
        assert_eq!((two.len(), two[1][0].operator.as_str()), (2, "!="));
        assert_eq!(read("&"), Ok(vec![Vec::new()]));
    }

    #[test]
    fn paths_are_encoded_and_nothing_else() {
        let of = |place: &str| {
            let xrsl = format!("&(inputfiles=('n%' '{place}'))(arguments=(a '/%'))");
            let mut conditions = read(&xrsl).unwrap().remove(0);
            encode_paths(&mut conditions);
            write(&conditions)
        };
        let expected = |place: &str| format!("&(inputfiles= ( \"n%\" \"{place}\"))\n(arguments= ( \"a\" \"/%\"))\n");
        assert_eq!(of("/d/50%"), expected("/d/50%25"));
        assert_eq!(of("file:///d/%41"), expected("file:///d/%2541"));
        assert_eq!(of("srm://h/a%20b"), expected("srm://h/a%20b"));
        assert_eq!(of(""), expected("n%25"));
    }

    #[test]
    fn what_is_not_in_order_is_refused() {
        let deep = format!("{}a=1", "&(".repeat(100_000));
        let lists = format!("&(a={}", "(".repeat(100_000));
        let long = format!("&(a=\"{}\")", "x".repeat(LONGEST));
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
            ("&(a=(\"b\"#))", "blank between"),
            ("&(a=$(B))", "variables"),
            ("&(a=\"(*\")", "comment"),
            ("&(a=b=c)", "between"),
            ("&(a=\"b\"\"c\"'d')", "blank between"),
            ("&(|(a=1)(a=2))", "alternatives"),
            ("|(a=1)", "alternatives"),
            ("+(a=1)", "missing after +"),
            ("&(+(&(a=1))(&(a=2)))", "several jobs"),
            ("&\n\n(a=^", "line 3"),
            (&deep, "nested"),
            (&lists, "nested"),
            (&long, "1 MiB"),
        ] {
            let error = read(xrsl).unwrap_err();
            assert!(error.contains(why), "{}: {error}", &xrsl[..xrsl.len().min(50)]);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "[&+|()=<>!\"'^#$*a-c \n]{0,100}") {
            if let Ok(jobs) = read(&text) {
                for conditions in jobs {
                    prop_assert_eq!(read(&write(&conditions)), Ok(vec![conditions]));
                }
            }
        }
    }
}
