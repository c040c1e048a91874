// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The database maps its file into memory and trusts every offset in it: a truncated or damaged file would end the
// process, or send a look-up astray. So the structure is walked here first, with plain reads and every bound checked,
// and each page below the high-water mark must be accounted for exactly once. What the entries hold is not looked at:
// that is the ledger's part.

const (
	pageSize      = 4096
	pageHeader    = 16
	elementSize   = 16
	bucketHeader  = 16
	metaSize      = 64
	metaMagic     = 0xED0CDAED
	metaVersion   = 2
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagFreelist  = 0x10
	flagBucket    = 0x01
	countOverflow = 0xFFFF
	maxPages      = 1 << 32
)

var order = binary.NativeEndian

// metaPage is one of the two headers; the valid one with the higher transaction counts.
type metaPage struct {
	root, freelist, pages, txid uint64
}

type inspection struct {
	newest metaPage
	// metas is how many of the two headers are valid.
	metas int
	// free are the page numbers that hold nothing.
	free []uint64
}

type inspector struct {
	file io.ReaderAt
	size int64
	meta metaPage
	// seen are the pages that were accounted for; nil where nobody asks.
	seen []bool
}

// inspectFile walks a database in dir. Nobody may be writing to it.
func inspectFile(dir, name string) (inspection, error) {
	file, err := openPlain(filepath.Join(dir, name), os.O_RDONLY, 0)
	if err != nil {
		return inspection{}, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return inspection{}, fmt.Errorf("inspecting the authority's file: %w", err)
	}
	return inspect(file, info.Size())
}

// openPlain opens a file that is not a symbolic link.
func openPlain(name string, flag int, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(name, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, fmt.Errorf("opening the authority's file: %w", err)
	}
	return file, nil
}

func inspect(file io.ReaderAt, size int64) (inspection, error) {
	i := &inspector{file: file, size: size}
	found, err := i.metas()
	if err != nil {
		return inspection{}, err
	}
	if i.meta.pages > maxPages || int64(i.meta.pages)*pageSize > size {
		return inspection{}, corrupt("it was cut short: %d bytes of at least %d", size, i.meta.pages*pageSize)
	}
	i.seen = make([]bool, i.meta.pages)
	i.seen[0], i.seen[1] = true, true
	if err := i.tree(i.meta.root, nil, nil); err != nil {
		return inspection{}, err
	}
	if found.free, err = i.freelist(); err != nil {
		return inspection{}, err
	}
	for id, seen := range i.seen {
		if !seen {
			return inspection{}, corrupt("page %d is neither used nor free", id)
		}
	}
	return found, nil
}

func (i *inspector) metas() (inspection, error) {
	var found inspection
	for n := range uint64(2) {
		raw := make([]byte, pageHeader+metaSize)
		if _, err := i.file.ReadAt(raw, int64(n)*pageSize); err != nil {
			if errors.Is(err, io.EOF) {
				return found, corrupt("it was cut short: %d bytes", i.size)
			}
			return found, fmt.Errorf("reading the authority's file: %w", err)
		}
		body := raw[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(body[:metaSize-8])
		if order.Uint64(raw) != n || order.Uint32(body) != metaMagic || order.Uint32(body[4:]) != metaVersion ||
			order.Uint32(body[8:]) != pageSize || order.Uint64(body[56:]) != sum.Sum64() {
			continue
		}
		meta := metaPage{root: order.Uint64(body[16:]), freelist: order.Uint64(body[32:]), pages: order.Uint64(body[40:]), txid: order.Uint64(body[48:])}
		if meta.pages < 4 {
			continue
		}
		if found.metas++; found.metas == 1 || meta.txid > found.newest.txid {
			found.newest = meta
		}
	}
	if found.metas == 0 {
		return found, corrupt("neither of its headers is valid")
	}
	i.meta = found.newest
	return found, nil
}

// page reads a page with its overflow, once.
func (i *inspector) page(id uint64) ([]byte, error) {
	if id >= i.meta.pages {
		return nil, corrupt("page %d is beyond the end", id)
	}
	head := make([]byte, pageHeader)
	if _, err := i.file.ReadAt(head, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("reading the authority's file: %w", err)
	}
	overflow := uint64(order.Uint32(head[12:]))
	if order.Uint64(head) != id || id+overflow >= i.meta.pages {
		return nil, corrupt("page %d has a damaged header", id)
	}
	for n := id; n <= id+overflow; n++ {
		if err := i.mark(n); err != nil {
			return nil, err
		}
	}
	page := make([]byte, (overflow+1)*pageSize)
	if _, err := i.file.ReadAt(page, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("reading the authority's file: %w", err)
	}
	return page, nil
}

func (i *inspector) mark(id uint64) error {
	if id >= i.meta.pages || i.seen != nil && i.seen[id] {
		return corrupt("page %d is used twice or lies beyond the end", id)
	}
	if i.seen != nil {
		i.seen[id] = true
	}
	return nil
}

// tree walks the pages below id, whose keys must lie in [low, high).
func (i *inspector) tree(id uint64, low, high []byte) error {
	page, err := i.page(id)
	if err != nil {
		return err
	}
	switch order.Uint16(page[8:]) {
	case flagBranch:
		return i.branch(id, page, low, high)
	case flagLeaf:
		return i.leaf(id, page, low, high)
	}
	return corrupt("page %d is of no kind that belongs there", id)
}

func (i *inspector) branch(id uint64, page, low, high []byte) error {
	count := int(order.Uint16(page[10:]))
	if count == 0 || pageHeader+count*elementSize > len(page) {
		return corrupt("page %d has a damaged count", id)
	}
	keys, children := make([][]byte, count), make([]uint64, count)
	for n := range count {
		at := pageHeader + n*elementSize
		key, _, ok := cut(page, at, order.Uint32(page[at:]), order.Uint32(page[at+4:]), 0)
		if !ok {
			return corrupt("page %d has a damaged element", id)
		}
		keys[n], children[n] = key, order.Uint64(page[at+8:])
	}
	if !ordered(keys, low, high) {
		return corrupt("page %d has keys out of order", id)
	}
	for n, child := range children {
		upper := high
		if n+1 < count {
			upper = keys[n+1]
		}
		if err := i.tree(child, keys[n], upper); err != nil {
			return err
		}
	}
	return nil
}

func (i *inspector) leaf(id uint64, page, low, high []byte) error {
	count := int(order.Uint16(page[10:]))
	if pageHeader+count*elementSize > len(page) {
		return corrupt("page %d has a damaged count", id)
	}
	keys := make([][]byte, count)
	for n := range count {
		at := pageHeader + n*elementSize
		key, value, ok := cut(page, at, order.Uint32(page[at+4:]), order.Uint32(page[at+8:]), order.Uint32(page[at+12:]))
		if !ok {
			return corrupt("page %d has a damaged element", id)
		}
		keys[n] = key
		switch flags := order.Uint32(page[at:]); flags {
		case 0:
		case flagBucket:
			if err := i.bucket(id, value); err != nil {
				return err
			}
		default:
			return corrupt("page %d has an element of no known kind", id)
		}
	}
	if !ordered(keys, low, high) {
		return corrupt("page %d has keys out of order", id)
	}
	return nil
}

// bucket walks a nested bucket: a tree of its own, or a leaf held in the value.
func (i *inspector) bucket(id uint64, value []byte) error {
	if len(value) < bucketHeader {
		return corrupt("page %d has a damaged bucket", id)
	}
	if root := order.Uint64(value); root != 0 {
		return i.tree(root, nil, nil)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != flagLeaf {
		return corrupt("page %d has a damaged bucket", id)
	}
	return i.leaf(id, inline, nil, nil)
}

func (i *inspector) freelist() ([]uint64, error) {
	id := i.meta.freelist
	page, err := i.page(id)
	if err != nil {
		return nil, err
	}
	if order.Uint16(page[8:]) != flagFreelist {
		return nil, corrupt("page %d is not the list of free pages", id)
	}
	count, list := uint64(order.Uint16(page[10:])), page[pageHeader:]
	if count == countOverflow {
		count, list = order.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return nil, corrupt("the list of free pages is longer than its page")
	}
	free := make([]uint64, count)
	for n := range free {
		free[n] = order.Uint64(list[n*8:])
		if err := i.mark(free[n]); err != nil {
			return nil, err
		}
	}
	return free, nil
}

// cut takes an element's key and value, which lie pos bytes behind the element at at.
func cut(page []byte, at int, pos, keySize, valueSize uint32) (key, value []byte, ok bool) {
	from := uint64(at) + uint64(pos)
	to := from + uint64(keySize) + uint64(valueSize)
	if to > uint64(len(page)) {
		return nil, nil, false
	}
	return page[from : from+uint64(keySize)], page[from+uint64(keySize) : to], true
}

func ordered(keys [][]byte, low, high []byte) bool {
	for n, key := range keys {
		if n > 0 && bytes.Compare(keys[n-1], key) >= 0 {
			return false
		}
	}
	return len(keys) == 0 || bytes.Compare(low, keys[0]) <= 0 && (high == nil || bytes.Compare(keys[len(keys)-1], high) < 0)
}
