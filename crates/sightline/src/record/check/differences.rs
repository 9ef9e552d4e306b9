//! What can differ between recordings and their index.

use serde::Serialize;

use super::super::index::SegmentId;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SQLite finds something wrong with the file of the index.
    IndexDamaged,
    /// Something in a row cannot be.
    RowBroken,
    /// A row whose path leads nowhere, or out of its folder.
    PathBroken,
    /// Two rows of one file.
    RowTwice,
    /// A row whose file is gone.
    FileMissing,
    /// A file without a row.
    FileUnknown,
    /// A file that has another length than its row says.
    Length,
    /// A file that is another than the one of the row.
    OtherFile,
    /// A file that cannot be read.
    Unreadable,
    /// A file that is damaged, and whose row does not say so.
    FileDamaged,
    /// A file that is whole, but not what was recorded.
    Checksum,
    /// A row whose table of fragments is not that of its file.
    Table,
    /// A file that was being written when the program was killed.
    Unfinished,
    /// Ranges that do not follow from the rows.
    Ranges,
    /// What cameras take, told otherwise than their rows.
    Sums,
    /// The beginning of a file that never got its name.
    Leftover,
    /// A file that is damaged, and whose row says so.
    KnownDamage,
    /// A file that is to be removed, which the next start does.
    ToRemove,
    /// A file of ours where nothing looks for one.
    Misplaced,
    /// A file that was recorded into another storage and copied here.
    OtherStorage,
}

impl Kind {
    /// Whether it is to be mended. What is none is worth a look.
    pub fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::KnownDamage | Self::ToRemove | Self::Misplaced | Self::OtherStorage
        )
    }

    /// For people, of one or several.
    pub fn text(self) -> &'static str {
        match self {
            Self::IndexDamaged => "damage of the index",
            Self::RowBroken => "rows in which something cannot be",
            Self::PathBroken => "rows whose path leads nowhere",
            Self::RowTwice => "rows of a file that another row has",
            Self::FileMissing => "rows whose file is gone",
            Self::FileUnknown => "files that the index does not know",
            Self::Length => "files of another length",
            Self::OtherFile => "files that are others than recorded",
            Self::Unreadable => "files that cannot be read",
            Self::FileDamaged => "files that are damaged",
            Self::Checksum => "files that are whole, but not what was recorded",
            Self::Table => "rows whose table of fragments is wrong",
            Self::Unfinished => "files left open by a crash",
            Self::Ranges => "days whose ranges are wrong",
            Self::Sums => "sums of what cameras take",
            Self::Leftover => "beginnings of files without a name",
            Self::KnownDamage => "files known to be damaged",
            Self::ToRemove => "files that the next start removes",
            Self::Misplaced => "recordings where nothing looks for them",
            Self::OtherStorage => "files that were copied here",
        }
    }
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Of which row.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub id: Option<SegmentId>,
    /// Of which file, or what it is about.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
    /// The row of a camera and the number of a day, whose ranges are to be made anew.
    #[serde(skip)]
    pub(super) day: Option<super::super::index::CameraDay>,
}

impl Finding {
    pub(super) fn new(kind: Kind, id: Option<SegmentId>, path: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind,
            id,
            path: path.into(),
            why: why.into(),
            day: None,
        }
    }
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
fn number<S: serde::Serializer>(id: &Option<SegmentId>, to: S) -> Result<S::Ok, S::Error> {
    id.map(|id| id.0).serialize(to)
}
