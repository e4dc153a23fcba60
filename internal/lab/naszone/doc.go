// Package naszone is a hotspot zone without a data path of its own: the real
// store on a disk, the real gate and the real RADIUS server, for tests and
// measurements that play the NASes. It only puts the parts together; where a
// test needs a disk that is slow or stands still, Slow is put under the store.
package naszone
