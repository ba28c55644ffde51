# What "@kura switch" needs of bash, to change this shell. All other commands are
# the program's alone.
function @kura {
	if [[ ${1-} != switch ]]; then
		command @kura "$@"
		return
	fi
	local _kura_trace='' _kura_status=0 _kura_text
	if [[ $- == *x* ]]; then # else the credentials would be shown
		{ _kura_trace=1; set +x; } 2>/dev/null
	fi
	_kura_text=$(KURA_SWITCH=@shell KURA_SWITCH_FORMER=${_kura_former-} command @kura "$@") || _kura_status=$?
	if [[ $_kura_text == '#kura'$'\n'* ]]; then
		eval "${_kura_text#*$'\n'}"
	elif [[ -n $_kura_text ]]; then
		printf '%s\n' "$_kura_text"
	fi
	if [[ -n $_kura_trace ]]; then
		set -x
	fi
	return $_kura_status
}
