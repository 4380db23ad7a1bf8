//! Tests only: SQLite's files and memory, with the Nth operation failing. Layers over SQLite's own.

#![allow(unsafe_code, reason = "SQLite's layers are tables of C functions; this is the one place that wraps them")]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::addr_of_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};

use rusqlite::ffi;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Op {
    Read,
    Write,
    Sync,
    Open,
    /// Of memory.
    Allocate,
}

/// A plan of failures for the files below a folder.
#[derive(Debug)]
pub(in crate::store) struct Plan {
    op: Op,
    /// The operation that fails, counted from 1; 0 for none.
    nth: AtomicU64,
    /// Whether all that follow fail too.
    is_lasting: bool,
    seen: AtomicU64,
}

impl Plan {
    pub fn new(op: Op, nth: u64, is_lasting: bool) -> Arc<Self> {
        Arc::new(Self { op, nth: AtomicU64::new(nth), is_lasting, seen: AtomicU64::new(0) })
    }

    /// Operations so far.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// The next operation fails.
    pub fn fail_next(&self) {
        self.nth.store(self.seen() + 1, Ordering::Relaxed);
    }

    /// The disk is whole again.
    pub fn mend(&self) {
        self.nth.store(0, Ordering::Relaxed);
    }

    /// Whether this operation fails.
    pub fn fails(&self, op: Op) -> bool {
        if op != self.op {
            return false;
        }
        let (seen, nth) = (self.seen.fetch_add(1, Ordering::Relaxed) + 1, self.nth.load(Ordering::Relaxed));
        nth != 0 && (seen == nth || (self.is_lasting && seen > nth))
    }
}

static PLANS: Mutex<Vec<(PathBuf, Arc<Plan>)>> = Mutex::new(Vec::new());

/// Lets `plan` rule the databases below `folder`, from now on and in this process only.
pub(in crate::store) fn rule(folder: &Path, plan: &Arc<Plan>) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    let mut plans = PLANS.lock().expect("no holder of the lock panics");
    plans.retain(|(path, _)| path != folder);
    plans.push((folder.to_owned(), Arc::clone(plan)));
}

thread_local! {
    static MEMORY_PLAN: RefCell<Option<Arc<Plan>>> = const { RefCell::new(None) };
}

/// Lets `plan` rule what SQLite allocates on this thread; `None` ends that.
pub(in crate::store) fn rule_memory(plan: Option<&Arc<Plan>>) {
    MEMORY_PLAN.set(plan.cloned());
}

type Allocate = unsafe extern "C" fn(c_int) -> *mut c_void;
type Reallocate = unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void;

/// SQLite's own functions.
static MEMORY: OnceLock<(Allocate, Reallocate)> = OnceLock::new();

/// SQLite takes other ways to allocate before it is used for the first time only: that is, before any test runs.
#[used]
#[unsafe(link_section = ".init_array")]
static WRAP_MEMORY: extern "C" fn() = wrap_memory;

extern "C" fn wrap_memory() {
    // SAFETY: nothing else of this process runs yet, and both options take such a table.
    unsafe {
        let mut methods: ffi::sqlite3_mem_methods = std::mem::zeroed();
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods);
        if let (Some(own_allocate), Some(own_reallocate)) = (methods.xMalloc, methods.xRealloc) {
            let _ = MEMORY.set((own_allocate, own_reallocate));
            methods.xMalloc = Some(allocate);
            methods.xRealloc = Some(reallocate);
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw mut methods);
        }
    }
}

fn is_memory_refused() -> bool {
    let fails = |plan: &RefCell<Option<Arc<Plan>>>| plan.borrow().as_ref().is_some_and(|plan| plan.fails(Op::Allocate));
    // A thread that ends may close its connections when its plan is gone.
    MEMORY_PLAN.try_with(fails).unwrap_or(false)
}

unsafe extern "C" fn allocate(len: c_int) -> *mut c_void {
    match MEMORY.get() {
        // SAFETY: SQLite's own function, called as SQLite calls it.
        Some((inner, _)) if !is_memory_refused() => unsafe { inner(len) },
        _ => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn reallocate(memory: *mut c_void, len: c_int) -> *mut c_void {
    match MEMORY.get() {
        // SAFETY: as above.
        Some((_, inner)) if !is_memory_refused() => unsafe { inner(memory, len) },
        _ => std::ptr::null_mut(),
    }
}

/// An open file: ours, with SQLite's own behind it in the same allocation.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    plan: *const Plan,
    inner: *mut ffi::sqlite3_file,
}

struct Layers {
    inner: *mut ffi::sqlite3_vfs,
    methods: ffi::sqlite3_io_methods,
}

// SAFETY: written once before any use, and SQLite's own layer may be used from all threads.
unsafe impl Sync for Layers {}
// SAFETY: as above.
unsafe impl Send for Layers {}

static LAYERS: OnceLock<Layers> = OnceLock::new();

fn register() {
    // SAFETY: the table is a copy of SQLite's default one, which lives as long as the process, as does the copy.
    unsafe {
        ffi::sqlite3_initialize();
        let inner = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut methods: ffi::sqlite3_io_methods = std::mem::zeroed();
        methods.iVersion = 1;
        methods.xClose = Some(close);
        methods.xRead = Some(read);
        methods.xWrite = Some(write);
        methods.xTruncate = Some(truncate);
        methods.xSync = Some(sync);
        methods.xFileSize = Some(file_size);
        methods.xLock = Some(lock);
        methods.xUnlock = Some(unlock);
        methods.xCheckReservedLock = Some(check_reserved_lock);
        methods.xFileControl = Some(file_control);
        methods.xSectorSize = Some(sector_size);
        methods.xDeviceCharacteristics = Some(device_characteristics);
        drop(LAYERS.set(Layers { inner, methods }));
        let mut vfs = std::ptr::read(inner);
        vfs.zName = c"faults".as_ptr();
        vfs.szOsFile += size_of::<File>() as c_int;
        vfs.xOpen = Some(open);
        vfs.pNext = std::ptr::null_mut();
        ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1);
    }
}

fn plan_of(name: *const c_char) -> *const Plan {
    if name.is_null() {
        return std::ptr::null();
    }
    // SAFETY: SQLite hands in a terminated path.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
    let plans = PLANS.lock().expect("no holder of the lock panics");
    let plan = plans.iter().find(|(folder, _)| path.starts_with(folder));
    // Leaked: a file may outlive its test's interest in it.
    plan.map_or(std::ptr::null(), |(_, plan)| Arc::into_raw(Arc::clone(plan)))
}

/// Whether the plan of an open file says that this fails.
fn fails(file: *mut ffi::sqlite3_file, op: Op) -> bool {
    // SAFETY: `open` has filled the file, and plans are leaked.
    unsafe { (*file.cast::<File>()).plan.as_ref() }.is_some_and(|plan| plan.fails(op))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let layers = LAYERS.get().expect("set before it is registered");
    let file = file.cast::<File>();
    // SAFETY: SQLite has allocated szOsFile bytes, which is ours and the inner one's together.
    unsafe {
        (*file).base.pMethods = std::ptr::null();
        (*file).plan = plan_of(name);
        (*file).inner = file.add(1).cast();
        if fails(file.cast(), Op::Open) {
            return ffi::SQLITE_CANTOPEN;
        }
        let code = (*layers.inner).xOpen.expect("every layer opens")(layers.inner, name, (*file).inner, flags, out);
        if code == ffi::SQLITE_OK {
            (*file).base.pMethods = &raw const layers.methods;
        }
        code
    }
}

/// Calls the inner file's method.
macro_rules! inner {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: `open` has filled both files, and SQLite calls with the arguments that the method takes.
        unsafe {
            let inner = (*addr_of_mut!(*$file.cast::<File>())).inner;
            (*(*inner).pMethods).$method.expect("every layer has it")(inner $(, $argument)*)
        }
    }};
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    inner!(file, xClose)
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, len: c_int, at: i64) -> c_int {
    if fails(file, Op::Read) {
        return ffi::SQLITE_IOERR_READ;
    }
    inner!(file, xRead, to, len, at)
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, len: c_int, at: i64) -> c_int {
    if fails(file, Op::Write) {
        // Torn: the first half reaches the file.
        let _ = inner!(file, xWrite, from, len / 2, at);
        return ffi::SQLITE_FULL;
    }
    inner!(file, xWrite, from, len, at)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    if fails(file, Op::Write) {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    inner!(file, xTruncate, len)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    if fails(file, Op::Sync) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    inner!(file, xSync, flags)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, len: *mut i64) -> c_int {
    inner!(file, xFileSize, len)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    inner!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    inner!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    inner!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, op: c_int, argument: *mut c_void) -> c_int {
    inner!(file, xFileControl, op, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    inner!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    inner!(file, xDeviceCharacteristics)
}
