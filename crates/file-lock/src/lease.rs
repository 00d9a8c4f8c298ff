//! A right to work that needs no locks of the file system: a file that its holder renews.
//!
//! Network file systems have locks that hang (NFS without its lock daemon), are refused, or hold on one machine only. What
//! all of them have is that of many who *create* a file one succeeds. So a [`Lease`] is a file with the name of its holder,
//! who writes a new number into it every [`BEAT`]. Who finds one that belongs to somebody else watches it: if its holder is
//! a process of this machine that is gone, or if nothing in it changes for [`STALE`], it is taken over. No clock of another
//! machine is ever read.
//!
//! A holder that was frozen for longer than [`STALE`] loses its lease without noticing at once. Two may be at work then; what
//! they write has to be whole files of the same bytes, as everything in a run folder is.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often a holder says that it is there.
pub const BEAT: Duration = Duration::from_secs(15);

/// A lease that has not changed for so long, while somebody watched, belongs to nobody.
pub const STALE: Duration = Duration::from_secs(120);

/// A lease is a few short lines; of anything longer no more than this is read.
const MAX_BYTES: u64 = 4096;

/// A right to work. Ends when it is dropped; of a killed holder by the rules of the module.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    holder: Holder,
    over: Arc<(Mutex<bool>, Condvar)>,
    beating: Option<JoinHandle<()>>,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    /// Name of the machine, for people.
    host: String,
    /// What tells whether a process number means anything here: the boot of the machine and the namespace of the number.
    machine: String,
    pid: u32,
    /// When that process began, in the system's own unit: numbers are used again.
    began: String,
    /// Tells two leases of one process apart.
    number: u64,
}

impl Holder {
    fn this_process() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        Self {
            host: host(),
            machine: machine(),
            pid,
            began: began(pid).unwrap_or_default(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn text(&self, beat: u64) -> String {
        let Self { host, machine, pid, began, number } = self;
        format!(
            "host {host}\nmachine {machine}\npid {pid}\nbegan {began}\nnumber {number}\nbeat {beat:012}\n"
        )
    }

    /// Nothing if a holder is just writing it.
    fn parse(text: &str) -> Option<Self> {
        let value =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        Some(Self {
            host: value("host")?.to_owned(),
            machine: value("machine")?.to_owned(),
            pid: value("pid")?.parse().ok()?,
            began: value("began")?.to_owned(),
            number: value("number")?.parse().ok()?,
        })
    }

    /// Whether it is a process of this machine that is not there any more.
    fn is_known_to_be_gone(&self) -> bool {
        let here = machine();
        !here.is_empty()
            && self.machine == here
            && !self.began.is_empty()
            && began(self.pid).as_ref() != Some(&self.began)
    }
}

/// Somebody who wants a lease and remembers what it saw of another holder's.
#[derive(Debug)]
pub struct Seeker {
    path: PathBuf,
    seen: Option<(String, Instant)>,
    stale: Duration,
}

impl Seeker {
    /// Wants the lease at a path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None, stale: STALE }
    }

    /// Name and process of whoever was found to hold it.
    pub fn holder(&self) -> Option<String> {
        let holder = Holder::parse(&self.seen.as_ref()?.0)?;
        Some(format!("process {} on {}", holder.pid, holder.host))
    }

    /// Takes the lease at once or not at all. To be called again and again by who waits.
    ///
    /// # Errors
    ///
    /// If the file cannot be made, read or removed.
    pub fn try_take(&mut self) -> io::Result<Option<Lease>> {
        match Lease::create(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(Some),
        }
        let text = match read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let unchanged = match &self.seen {
            Some((seen, since)) if *seen == text => since.elapsed() >= self.stale,
            _ => {
                self.seen = Some((text.clone(), Instant::now()));
                false
            }
        };
        let gone = Holder::parse(&text).is_some_and(|holder| holder.is_known_to_be_gone());
        if !(unchanged || gone) || !take_away(&self.path, &text)? {
            return Ok(None);
        }
        match Lease::create(&self.path) {
            // Somebody was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            created => created.map(Some),
        }
    }
}

impl Lease {
    fn create(path: &Path) -> io::Result<Self> {
        let holder = Holder::this_process();
        write_new(path, &holder.text(0))?;
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let beating = {
            let (path, holder, over) = (path.to_owned(), holder.clone(), over.clone());
            thread::spawn(move || beat(&path, &holder, &over))
        };
        Ok(Self { path: path.to_owned(), holder, over, beating: Some(beating) })
    }

    /// Whether the file still says that this is the holder.
    pub fn is_held(&self) -> bool {
        is_of(&self.path, &self.holder)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.1.notify_all();
        if let Some(beating) = self.beating.take() {
            // It only writes; were it to panic, the lease would be taken over.
            let _ = beating.join();
        }
        if self.is_held() {
            // If it fails, the file stays and is known to be of a process that is gone.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Says every now and then that the holder is there, as long as the lease is its own.
fn beat(path: &Path, holder: &Holder, over: &(Mutex<bool>, Condvar)) {
    for number in 1.. {
        let is_over = over.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = over.1.wait_timeout_while(is_over, BEAT, |is_over| !*is_over);
        // Only a file that names somebody else ends it. One that cannot be read does not: the share may be away for a
        // moment, and who looks whether a holder is gone moves its file aside and back.
        let other = || read(path).ok().and_then(|text| Holder::parse(&text));
        if *waited.unwrap_or_else(PoisonError::into_inner).0
            || other().is_some_and(|other| other != *holder)
        {
            return;
        }
        // A beat that cannot be written (the share is away for a moment) is followed by another. Never created: who took
        // the lease over has a file of its own.
        let _ = OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(holder.text(number).as_bytes()));
    }
}

fn is_of(path: &Path, holder: &Holder) -> bool {
    read(path).is_ok_and(|text| Holder::parse(&text).as_ref() == Some(holder))
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;

    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Removes the lease that had this text, and no other. Whether it was this one who did.
///
/// Of several who rename one file, one succeeds. If what it has got is not what it saw, another was faster and holds a new
/// lease already, which is put back.
fn take_away(path: &Path, text: &str) -> io::Result<bool> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside =
        path.with_file_name(format!(".{name}.{}-{}-{number}.gone", host(), std::process::id()));
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        renamed => renamed?,
    }
    let found = read(&aside)?;
    let same = found == text;
    if !same {
        put_back(&aside, path, &found)?;
    }
    fs::remove_file(&aside)?;
    Ok(same)
}

/// Puts a lease back that was not the one to take away, unless there is a third already, which is then the only one. On
/// file systems without hard links it is written anew.
fn put_back(aside: &Path, path: &Path, text: &str) -> io::Result<()> {
    let put = match fs::hard_link(aside, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => write_new(path, text),
        linked => linked,
    };
    match put {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        put => put,
    }
}

/// Writes a file that must not be there.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        // Half a name would look like somebody else's.
        let _ = fs::remove_file(path);
    }
    written
}

/// Name of this machine; empty where the system does not tell it in a file.
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    match boot.trim() {
        "" => String::new(),
        boot => format!("{boot} {}", namespace.display()),
    }
}

/// When a process of this machine began; nothing if there is none, or nobody can tell.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything. Of what follows it is the 20th.
    let behind = stat.rsplit_once(')')?.1;
    let mut fields = behind.split_whitespace();
    // A process that nobody has waited for yet is over.
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).expect("a folder").count()
    }

    #[test]
    fn of_many_threads_one_at_a_time_has_the_lease_and_nothing_is_left() {
        use std::sync::atomic::AtomicU32;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lease");
        let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let mut seeker = Seeker::new(&path);
                        let lease = loop {
                            if let Some(lease) = seeker.try_take().expect("no error") {
                                break lease;
                            }
                            thread::yield_now();
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((taken.into_inner(), names(folder.path())), (80, 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_lease_of_a_killed_process_of_this_machine_is_taken_over_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lease");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id();
        let holder = Holder { pid, began: began(pid).expect("it runs"), ..Holder::this_process() };
        fs::write(&path, holder.text(3)).expect("written");
        let mut seeker = Seeker::new(&path);
        assert!(seeker.try_take().expect("no error").is_none(), "it is alive");
        assert!(seeker.holder().expect("known").starts_with(&format!("process {pid} on ")));
        child.kill().expect("killed");
        child.wait().expect("over");
        let _lease = seeker.try_take().expect("no error").expect("it is gone");
        assert_eq!(names(folder.path()), 1);
    }

    #[test]
    fn the_lease_of_another_machine_is_taken_over_only_once_it_stops_changing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lease");
        let elsewhere = Holder { machine: "elsewhere".into(), ..Holder::this_process() };
        let mut seeker = Seeker { stale: Duration::ZERO, ..Seeker::new(&path) };
        for beat in 0..5 {
            fs::write(&path, elsewhere.text(beat)).expect("written");
            assert!(seeker.try_take().expect("no error").is_none(), "beat {beat} is new");
        }
        let lease = seeker.try_take().expect("no error").expect("nothing has changed");
        assert!(lease.is_held());
        // The former holder, were it to wake up, must not take the lease for its own.
        assert!(!is_of(&path, &elsewhere));
    }

    #[test]
    fn who_renames_a_lease_that_is_another_one_by_now_puts_it_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lease");
        let lease = Seeker::new(&path).try_take().expect("no error").expect("nobody has it");
        assert!(!take_away(&path, "what was seen before").expect("no error"));
        assert!(lease.is_held());
        assert_eq!(names(folder.path()), 1);
    }
}
