use super::{ParseError, Place, Problem};

/// A word and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    pub(crate) place: Place,
}

impl Word<'_> {
    pub(crate) fn refused(self, problem: Problem) -> ParseError {
        ParseError {
            place: self.place,
            word: self.text.to_owned(),
            problem,
        }
    }
}

pub(crate) fn of_command_line<'a>(words: &[&'a str]) -> Vec<Word<'a>> {
    (1..)
        .zip(words)
        .map(|(number, text)| Word {
            text,
            place: Place::Word(number),
        })
        .collect()
}

/// The words of a line up to a comment, without the program's name.
pub(crate) fn of_line(line: usize, text: &str) -> Vec<Word<'_>> {
    let mut column = 1;
    text.split([' ', '\t', '\r'])
        .map(|text| {
            let place = Place::Text { line, column };
            column += text.chars().count() + 1;
            Word { text, place }
        })
        .filter(|word| !word.text.is_empty())
        .take_while(|word| !word.text.starts_with('#'))
        .skip_while(|word| word.text == "ipvsadm")
        .collect()
}
