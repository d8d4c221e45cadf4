//! `BFD_CHECK` and `FILE_CHECK`: the state of an object that another block defines.

use super::{Detail, RealServer};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    configuration::TrackFile,
    lvs::Context,
    tree::Node,
};

/// `FILE_CHECK`.
#[derive(Clone, Debug)]
pub struct TrackedFile {
    /// The file.
    pub file: TrackFile,
    /// The factor of its number.
    pub weight: i32,
    /// Whether the sign is inverted.
    pub is_reverse: bool,
}

impl TrackedFile {
    /// The factor with its sign.
    #[must_use]
    pub const fn factor(&self) -> i32 {
        if self.is_reverse {
            self.weight.saturating_neg()
        } else {
            self.weight
        }
    }
}

/// Reads `BFD_CHECK`. `None` if it is ignored.
pub(super) fn bfd(
    node: &Node,
    real: &mut RealServer,
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) -> Option<Detail> {
    let Some(statement) = node.last("name") else {
        complaints.push(
            Complaint::new(
                Kind::MissingParameter,
                "BFD_CHECK needs the name of a bfd_instance",
            )
            .at(node.end),
        );
        return None;
    };
    let name = statement.word_at(0).unwrap_or_default();
    if !context.bfd.iter().any(|it| it == name) {
        complaints.push(
            Complaint::new(
                Kind::NotDefined,
                format!("there is no bfd_instance {name:?}; the check is ignored"),
            )
            .at(statement.place)
            .token(name),
        );
        return None;
    }
    real.tracked_bfd.push(name.to_owned());
    Some(Detail::Bfd(name.to_owned()))
}

/// Reads `FILE_CHECK`, and adds the number in the file to the weight. `None` if it is ignored.
pub(super) fn file(
    node: &Node,
    real: &mut RealServer,
    context: &Context<'_>,
    complaints: &mut Vec<Complaint>,
) -> Option<Detail> {
    let Some(statement) = node.last("track_file") else {
        complaints
            .push(Complaint::new(Kind::NotDefined, "FILE_CHECK needs a track_file").at(node.end));
        return None;
    };
    let name = statement.word_at(0).unwrap_or_default();
    let Some((file, value)) = context.files.get(name).cloned() else {
        complaints.push(
            Complaint::new(
                Kind::NotDefined,
                format!("there is no track_file {name:?}; the check is ignored"),
            )
            .at(statement.place)
            .token(name),
        );
        complaints.push(
            Complaint::new(
                Kind::NotDefined,
                "FILE_CHECK has no usable track_file; it is ignored",
            )
            .at(node.end),
        );
        return None;
    };
    let own = node.number("weight").and_then(|it| i32::try_from(it).ok());
    let is_reverse = match (own, node.last("weight")) {
        (Some(_), Some(statement)) => statement.word_at(1) == Some("reverse"),
        _ => file.is_reverse,
    };
    let tracked = TrackedFile {
        weight: own.unwrap_or(file.weight),
        is_reverse,
        file,
    };
    let points = value.saturating_mul(tracked.factor().into());
    let changed = i64::from(real.weight).saturating_add(points);
    real.weight = u32::try_from(changed.max(0)).unwrap_or(0);
    real.tracked_files.push(tracked);
    Some(Detail::File)
}
