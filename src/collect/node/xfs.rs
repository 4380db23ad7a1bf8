//! XFS file systems, `/sys/fs/xfs/*/stats/stats`. Source: fs/xfs/xfs_stats.h of the Linux kernel.

use super::super::page::Page;
use super::host::{Host, NodeError, read_text};
use super::table::Table;

const FILE_SYSTEMS: Table = Table {
    prefix: "node_xfs_",
    labels: &["device"],
    help: "Counter of /sys/fs/xfs/<device>/stats/stats.",
    lines: "\
extent_alloc.0 extent_allocation_extents_allocated_total -
extent_alloc.1 extent_allocation_blocks_allocated_total -
extent_alloc.2 extent_allocation_extents_freed_total -
extent_alloc.3 extent_allocation_blocks_freed_total -
abt.0 allocation_btree_lookups_total -
abt.1 allocation_btree_compares_total -
abt.2 allocation_btree_records_inserted_total -
abt.3 allocation_btree_records_deleted_total -
blk_map.0 block_mapping_reads_total -
blk_map.1 block_mapping_writes_total -
blk_map.2 block_mapping_unmaps_total -
blk_map.3 block_mapping_extent_list_insertions_total -
blk_map.4 block_mapping_extent_list_deletions_total -
blk_map.5 block_mapping_extent_list_lookups_total -
blk_map.6 block_mapping_extent_list_compares_total -
bmbt.0 block_map_btree_lookups_total -
bmbt.1 block_map_btree_compares_total -
bmbt.2 block_map_btree_records_inserted_total -
bmbt.3 block_map_btree_records_deleted_total -
dir.0 directory_operation_lookup_total -
dir.1 directory_operation_create_total -
dir.2 directory_operation_remove_total -
dir.3 directory_operation_getdents_total -
ig.0 inode_operation_attempts_total -
ig.1 inode_operation_found_total -
ig.2 inode_operation_recycled_total -
ig.3 inode_operation_missed_total -
ig.4 inode_operation_duplicates_total -
ig.5 inode_operation_reclaims_total -
ig.6 inode_operation_attribute_changes_total -
rw.0 write_calls_total -
rw.1 read_calls_total -
vnodes.0 vnode_active_total -
vnodes.1 vnode_allocate_total -
vnodes.2 vnode_get_total -
vnodes.3 vnode_hold_total -
vnodes.4 vnode_release_total -
vnodes.5 vnode_reclaim_total -
vnodes.6 vnode_remove_total -",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let root = host.sys_path("fs/xfs");
    let rows: Vec<_> = host
        .sys_names("fs/xfs")
        .into_iter()
        .filter_map(|device| {
            let text = read_text(&root.join(&device).join("stats/stats")).ok()?;
            Some(FILE_SYSTEMS.row(vec![device], &mut |source| number(&text, source)))
        })
        .collect();
    FILE_SYSTEMS.write(page, &rows);
    Ok(())
}

/// `abt.2`: the third number of the line `abt`; zero in a kernel without it, as node_exporter shows it.
fn number(text: &str, source: &str) -> Option<f64> {
    let (line, column) = source.split_once('.')?;
    let numbers = text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' ')).unwrap_or("");
    let number = numbers.split_ascii_whitespace().nth(column.parse().ok()?);
    Some(number.and_then(|word| word.parse().ok()).unwrap_or(0.0))
}
