//! What is wrong with a parameter set, in words.
//!
//! Belongs here: the faults of reading bits, which H.264 and H.265 share. Does not belong here: what a value means.

use std::io::ErrorKind;

use h264_reader::rbsp::BitReaderError;

/// What was not right, and in which field.
pub(crate) fn in_words(error: &BitReaderError) -> String {
    match error {
        BitReaderError::ReaderError(field, error) if error.kind() == ErrorKind::UnexpectedEof => {
            format!("it ends before {field}")
        }
        BitReaderError::ReaderError(field, error) => format!("{field} cannot be read: {error}"),
        BitReaderError::ExpGolombTooLarge(field) => format!("{field} is larger than allowed"),
        BitReaderError::RemainingData => "more follows than belongs to it".to_owned(),
    }
}
