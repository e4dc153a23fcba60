package lab

func (l *Lab) buildCrowd() error { return nil }
