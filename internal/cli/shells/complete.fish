# Completion of @kura for fish.

function __kura_complete
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l program $words[1]
	command -q -- $program; or set program @kura

	# After exec's -- comes a command line of its own.
	if set -l dash (contains -i -- -- $words)
		set -l rest $words[(math $dash + 1)..-1]
		test $dash -lt (count $words); or set rest
		complete -C (string join ' ' -- (string escape -- $rest) $current)
		return
	end

	# The shell itself chooses among all profiles, and finds parts of names too.
	set -l last ''
	set -l lead ''
	if string match -q -- '-*=*' $current
		set lead (string replace -r '=.*' '=' -- $current)
		set last $lead
	else if string match -q -- '-*' $current
		set last $current
	end
	set -l lines (command $program __complete $words[2..-1] $last 2>/dev/null)
	or return
	if test (count $lines) -gt 1
		printf '%s\n' $lead$lines[1..-2]
	else if test (math "bitand($(string sub -s 2 -- $lines[-1]), 4)") -eq 0
		__fish_complete_path $current
	end
end

complete -c @kura -e
complete -c @kura -f -k -a '(__kura_complete)'
if command -q kura; and command -q aws-vault
	if test (realpath (command -s kura)) = (realpath (command -s aws-vault))
		for name in kura aws-vault
			complete -c $name -e
			complete -c $name -f -k -a '(__kura_complete)'
		end
	end
end
