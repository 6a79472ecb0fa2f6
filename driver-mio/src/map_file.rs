//! Changing one mapping in a map file: all of the new text is there, or all of the old.
//!
//! The text goes to a new file in the same folder, is flushed to the disk, and takes the old one's
//! place by rename; then the folder is flushed, so that a power failure cannot bring the old name
//! back. Whoever reads the map meanwhile reads one text or the other. The file's mode stays; a
//! symbolic link stays one, and its target changes.
//!
//! Not here: what the new text is, see the core's `route/edit.rs`; reading the map, see
//! `server/plans.rs`. Invariant: a text that would not load is never written. Two changes at a time
//! are the caller's to keep apart.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gatepost_core::config::Normalize;
use gatepost_core::route::edit::{Change, Unchanged, changed};
use gatepost_core::route::table::{FileMap, MapFault};

/// Why a map file is as it was.
#[derive(Debug)]
pub enum MapChangeFault {
    /// There is nothing to change, or no account or destination can be called that.
    Unchanged(Unchanged),
    /// The text would not load after the change; most likely it did not before.
    Unloadable(MapFault),
    /// The operating system's reason.
    Io(io::Error),
}

impl fmt::Display for MapChangeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged(Unchanged::Already) => f.write_str("there is nothing to change"),
            Self::Unchanged(Unchanged::Unfit) => f.write_str("nobody can be mapped like this"),
            Self::Unloadable(fault) => fault.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MapChangeFault {}

impl From<io::Error> for MapChangeFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Changes one mapping of a file. Gives the map as it is then. `destinations`: the names that may
/// stand on the right, as for [`FileMap::parse`].
///
/// # Errors
///
/// The file is as it was, and no other is left behind.
pub fn change_map(
    path: &Path,
    change: Change<'_>,
    destinations: &[&str],
    form: Normalize,
) -> Result<FileMap, MapChangeFault> {
    let path = fs::canonicalize(path)?;
    let text = changed(&fs::read(&path)?, change, form).map_err(MapChangeFault::Unchanged)?;
    let map = FileMap::parse(&text, destinations, form).map_err(MapChangeFault::Unloadable)?;
    replace(&path, &text)?;
    Ok(map)
}

/// Puts a text in the place of a file's.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = draft_of(path)?;
    let outcome = write(&draft, text, path).and_then(|()| fs::rename(&draft, path));
    if outcome.is_err() {
        // The first reason is the one to tell, and there may be nothing to remove.
        let _ = fs::remove_file(&draft);
    }
    outcome?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()
}

fn write(draft: &Path, text: &[u8], like: &Path) -> io::Result<()> {
    // Left by a change that was interrupted: nobody else uses the name.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(draft)?;
    file.set_permissions(fs::metadata(like)?.permissions())?;
    file.write_all(text)?;
    file.sync_all()
}

/// The name of the new file until it is whole.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(".draft");
    Ok(path.with_file_name(draft))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const TEXT: &str = "# moved\nalice old\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("users.map"), TEXT).unwrap();
            Self(folder)
        }

        fn map(&self) -> PathBuf {
            self.0.path().join("users.map")
        }

        fn text(&self) -> String {
            fs::read_to_string(self.map()).unwrap()
        }

        fn names(&self) -> usize {
            fs::read_dir(self.0.path()).unwrap().count()
        }
    }

    fn put(path: &Path, who: &str, destination: &str) -> Result<FileMap, MapChangeFault> {
        let change = Change::Put { identifier: who.as_bytes(), destination };
        change_map(path, change, &["old", "new"], Normalize::Lowercase)
    }

    #[test]
    fn a_change_keeps_the_rest_and_the_mode_and_leaves_no_other_file() {
        let folder = Folder::new();
        fs::set_permissions(folder.map(), fs::Permissions::from_mode(0o640)).unwrap();
        let map = put(&folder.map(), "Alice", "new").unwrap();
        assert_eq!(map.find(b"alice").map(|hit| (hit.destination, hit.line)), Some((1, 2)));
        assert_eq!(folder.text(), "# moved\nalice new\n");
        assert_eq!(fs::metadata(folder.map()).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(folder.names(), 1);
        let change = Change::Remove { identifier: b"alice" };
        change_map(&folder.map(), change, &["old", "new"], Normalize::Lowercase).unwrap();
        assert_eq!(folder.text(), "# moved\n");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = Folder::new();
        let link = folder.0.path().join("link.map");
        symlink("users.map", &link).unwrap();
        put(&link, "alice", "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(folder.text(), "# moved\nalice new\n");
    }

    #[test]
    fn what_would_not_load_is_not_written() {
        let folder = Folder::new();
        assert!(matches!(put(&folder.map(), "a", "nwe"), Err(MapChangeFault::Unloadable(_))));
        assert!(matches!(put(&folder.map(), "a b", "new"), Err(MapChangeFault::Unchanged(_))));
        assert!(matches!(put(&folder.map(), "alice", "old"), Err(MapChangeFault::Unchanged(_))));
        assert_eq!((folder.text().as_str(), folder.names()), (TEXT, 1));
    }

    #[test]
    fn a_change_that_fails_half_way_leaves_the_old_text() {
        let folder = Folder::new();
        // The draft's place is taken by what cannot be removed as a file, so that writing fails.
        let draft = draft_of(&folder.map()).unwrap();
        fs::create_dir(&draft).unwrap();
        assert!(matches!(put(&folder.map(), "alice", "new"), Err(MapChangeFault::Io(_))));
        assert_eq!(folder.text(), TEXT);
    }

    #[test]
    fn what_an_interrupted_change_left_behind_is_in_nobodys_way() {
        let folder = Folder::new();
        let draft = draft_of(&folder.map()).unwrap();
        fs::write(&draft, "alice n").unwrap();
        put(&folder.map(), "alice", "new").unwrap();
        assert_eq!(folder.text(), "# moved\nalice new\n");
        assert_eq!(folder.names(), 1);
    }

    #[test]
    fn a_rename_that_fails_takes_its_draft_with_it() {
        let folder = Folder::new();
        let taken = folder.0.path().join("taken.map");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(replace(&taken, b"alice new\n").is_err(), "a folder is not replaced by a file");
        assert!(!draft_of(&taken).unwrap().exists());
    }
}
