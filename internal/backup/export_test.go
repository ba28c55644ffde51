package backup

var Encode = encode
