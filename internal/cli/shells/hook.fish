# What "@kura switch" needs of fish, to change this shell. All other commands are
# the program's alone.
function @kura --wraps @kura
	if test "$argv[1]" != switch
		command @kura $argv
		return
	end
	set -l fish_trace # else the credentials would be shown
	set -l lines (KURA_SWITCH=fish KURA_SWITCH_FORMER=$_kura_former command @kura $argv)
	set -l result $status
	if test "$lines[1]" = '#kura'
		string join \n -- $lines | source
	else if set -q lines[1]
		string join \n -- $lines
	end
	return $result
end
