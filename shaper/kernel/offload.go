package kernel

// Flow tables, as in linux/netfilter/nf_tables.h. The kernel that a test runs
// on may have none, so what is decoded here is tested with bytes.
const (
	nftGetFlowtable = 10<<8 | 23

	nfgenLen        = 4
	flowtableHook   = 3
	flowtableDevs   = 3 // in the hook
	flowtableDevice = 1 // in the devices
)

// flowtableDevices lists the devices of one flow table message.
func flowtableDevices(body []byte) (names []string) {
	if len(body) < nfgenLen {
		return nil
	}
	attrs(body[nfgenLen:], func(typ uint16, v []byte) {
		if typ != flowtableHook {
			return
		}
		attrs(v, func(typ uint16, v []byte) {
			if typ != flowtableDevs {
				return
			}
			attrs(v, func(typ uint16, v []byte) {
				if typ == flowtableDevice {
					names = append(names, cString(v))
				}
			})
		})
	})
	return names
}
