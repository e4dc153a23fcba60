package store_test

const victimEnv = "HUB_STORE_VICTIM"

func victim() {}
