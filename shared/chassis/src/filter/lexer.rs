//! Cuts a filter into words, operators and quoted literals. Knows nothing of fields.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// A field, AND, or a bare literal.
    Word(String),
    Op(String),
    /// What stood between quotes, with `\"` and `\\` resolved.
    Literal(String),
}

/// A value as it was written.
pub(super) struct Literal<'a> {
    pub text: &'a str,
    pub quoted: bool,
}

impl Lexeme {
    pub(super) fn literal(&self) -> Literal<'_> {
        match self {
            Self::Word(text) | Self::Op(text) => Literal {
                text,
                quoted: false,
            },
            Self::Literal(text) => Literal { text, quoted: true },
        }
    }
}

pub(super) fn split(text: &str) -> Result<Vec<Lexeme>, String> {
    let mut lexemes = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (lexeme, after) = match first {
            '"' => quoted(&rest[1..])?,
            // Instants hold colons too, but they stand behind an operator.
            ':' if !matches!(lexemes.last(), Some(Lexeme::Op(_))) => {
                (Lexeme::Op(":".to_owned()), &rest[1..])
            }
            '=' | '<' | '>' | '!' => {
                let (op, after) = cut(rest, |c| matches!(c, '=' | '<' | '>' | '!'));
                (Lexeme::Op(op), after)
            }
            c if is_word(c) => {
                let is_value = matches!(lexemes.last(), Some(Lexeme::Op(_)));
                let (word, after) = cut(rest, |c| is_word(c) && (is_value || c != ':'));
                (Lexeme::Word(word), after)
            }
            other => {
                return Err(format!(
                    "{other:?} does not belong here; quote texts with \""
                ));
            }
        };
        lexemes.push(lexeme);
        rest = after.trim_start();
    }
    Ok(lexemes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | ':' | '|')
}

fn cut(text: &str, belongs: impl Fn(char) -> bool) -> (String, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

fn quoted(text: &str) -> Result<(Lexeme, &str), String> {
    let mut literal = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Lexeme::Literal(literal), &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => literal.push(c),
                _ => return Err("after \\ only \" or \\ may follow".to_owned()),
            },
            '\0' => return Err("holds a NUL character".to_owned()),
            c => literal.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}
